"""What is made of an overload; nothing here overloads anything."""
